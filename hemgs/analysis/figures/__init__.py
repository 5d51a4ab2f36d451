"""The figures: what each shows, and the conventions that all of them share."""
