"""Studies: variants and training seeds as DVC experiments, and the tables that compare them."""
