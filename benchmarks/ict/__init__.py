"""Questions about ICT-ConvEntion beside the published experiment: embeddings, imbalance, few labels."""
