"""Fine-tuning: a rewritten model learns from labels and from the original model as its teacher."""
