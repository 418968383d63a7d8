"""The numbers of deployments: tables, the live panel, plots."""
