"""What is asked for beside the files of a revision: the text of its commit, and signatures."""
