"""The admin's front: the site that all apps register on, and the pages that belong to none of them alone."""
