"""What is judged (`manifest`, yields `types.Sample`) and what is trained on (`pairs`)."""
