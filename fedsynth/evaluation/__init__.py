"""How good the images are that a site serves; how models do at other sites; how much sites differ."""
