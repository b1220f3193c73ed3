"""Training and evaluation: recipes and data sets in; weights, scores and tables out. Nothing here serves alerts."""
