"""Lines of code that port the weights of one file into another framework, or that mend a port."""
