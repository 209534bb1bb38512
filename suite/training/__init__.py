"""Networks that are trained first, with Trainer.fit: made once, named by what made them."""
