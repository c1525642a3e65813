"""Where a model comes from: ``timm:``, ``torchvision:``, ``hf:`` and ``py:``, one file each."""
