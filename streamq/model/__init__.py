"""Every word that the other packages speak: values, outcomes, names, errors, clock, ports. No behaviour of its own."""
