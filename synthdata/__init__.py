"""Factory of training sets and builder of the open head."""
