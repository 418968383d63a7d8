"""What protects users from texts of others: which URLs may be opened, and which secrets are hidden."""
