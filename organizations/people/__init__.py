"""How people sign in and stay signed in: second factor, OpenID Connect, password reset by mail, sessions."""
