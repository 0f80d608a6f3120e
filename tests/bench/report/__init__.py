"""The figures, the machine that they were measured on, and the forms they are printed in."""
