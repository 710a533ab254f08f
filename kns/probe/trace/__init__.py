"""`kns trace`: one packet's way through a lab, as captured on every link, with each rule it met."""
