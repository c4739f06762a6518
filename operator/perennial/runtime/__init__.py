"""What runs in users' pods. It knows no Kubernetes: only files, ports and the wire contract."""
