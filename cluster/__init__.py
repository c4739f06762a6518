"""A Kubernetes cluster for development and tests, on whatever the machine has.

One interface, three providers: the cluster of the user's KUBECONFIG, kind where Docker works, and an embedded cluster
of real Kubernetes components in namespaces of its own where there is nothing but Linux, Go and package registries.
"""
