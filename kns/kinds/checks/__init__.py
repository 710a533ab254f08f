"""What kube-apiserver would refuse of the objects of a lab, the kernel too, each with its place."""
