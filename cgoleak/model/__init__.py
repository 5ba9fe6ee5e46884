"""What flows along the line: frozen values without behaviour. Imports only errors and units."""
