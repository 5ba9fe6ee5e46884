"""What CI systems show: code scanning, test reports, annotations, step summaries."""
