"""Images: sources, labels, class names, decoding. Imports nothing by itself; torch in images and datamodule only."""
