"""Controls: what a network answers when a part of the information is taken away from it; ``python -m`` runs them."""
