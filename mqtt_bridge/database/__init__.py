"""How the bridge speaks to the database: many rows at once, locks and how long they are waited for, migrations."""
