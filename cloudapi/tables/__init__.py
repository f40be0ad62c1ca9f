"""The lists of the admin as files: what is exported, what is imported, and how such files are read and written."""
