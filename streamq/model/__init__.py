"""Every word that the other packages speak: values, outcomes, names, errors, clock and ports. No behaviour of its own."""
