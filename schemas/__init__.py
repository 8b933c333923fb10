"""What things are: elements, records, recipes, errors, file names and keyed seeds. No I/O."""
