"""Pure maps between our parameters and other people's tensor names."""
