"""The live panel of deployments."""
