"""Ray Train and Ray Data around the method, and the loop from annotations to a promoted model."""
