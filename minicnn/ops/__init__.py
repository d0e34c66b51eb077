"""The differentiable operations, one file a family, each Function's backward directly under its forward."""
