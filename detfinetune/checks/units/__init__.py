"""Checks of how labels were read: columns, units, image sizes."""
