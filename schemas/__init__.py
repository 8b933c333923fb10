"""What things are: elements, records, recipes, manifests, errors and file names."""
