"""OmniVL on the bank (arXiv 2209.07526): images and videos found, captioned and asked about."""
