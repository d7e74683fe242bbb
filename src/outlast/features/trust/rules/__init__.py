"""The operator's rules: a Cedar file over what is known of a model, its licence and publisher."""
