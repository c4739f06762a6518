"""The command lines and configuration files of every component, computed from the layout and nothing else.

Paths are as seen from inside the cluster's namespaces. What departs from the components' defaults does so for one of
three reasons, named where it stands: the cluster is thrown away, it must be quick on two cores, or the machine forbids
the default.
"""

from pathlib import Path
from typing import Any

from cluster.layout import API_PORT, DNS_ADDRESS, SERVICES, Layout
from cluster.paths import INSIDE

PKI = INSIDE / "pki"
BIN = INSIDE / "bin"
VOLUMES = INSIDE / "volumes"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "docker.io/perennial/pause:dev"
#: Enough that no client of ours waits for its own rate limiter.
QPS, BURST = 200, 400


def control_plane(layout: Layout) -> dict[str, list[str]]:
    """Commands by component, in the order in which they start."""
    return {
        "etcd": _etcd(),
        "kube-apiserver": _api_server(layout),
        "kube-controller-manager": _controller_manager(layout),
        "kube-scheduler": _scheduler(layout),
        "local-provisioner": [
            str(BIN / "local-provisioner"),
            f"--kubeconfig={_config('local-provisioner')}",
            f"--root={VOLUMES}",
        ],
    }


def node_agents(layout: Layout, number: int, folder: Path) -> dict[str, list[str]]:
    """Commands by component of a node, whose configuration files are in `folder`."""
    node = layout.nodes[number]
    return {
        "containerd": ["containerd", f"--config={folder / 'containerd.toml'}"],
        "kubelet": [
            str(BIN / "kubelet"),
            f"--config={folder / 'kubelet.yaml'}",
            f"--kubeconfig={_config(node)}",
            f"--hostname-override={node}",
            f"--node-ip={layout.node_address(number)}",
        ],
        "kube-proxy": [str(BIN / "kube-proxy"), f"--config={folder / 'kube-proxy.yaml'}"],
    }


def _etcd() -> list[str]:
    return [
        str(BIN / "etcd"),
        "--name=default",
        f"--data-dir={INSIDE / 'etcd'}",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=default=http://127.0.0.1:2380",
        "--unsafe-no-fsync",  # thrown away: it need not survive a power cut
        f"--quota-backend-bytes={4 * 1024**3}",
        "--log-level=warn",
    ]


def _api_server(layout: Layout) -> list[str]:
    return [
        str(BIN / "kube-apiserver"),
        "--bind-address=0.0.0.0",
        f"--advertise-address={layout.bridge_address}",
        f"--secure-port={API_PORT}",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--service-cluster-ip-range={SERVICES}",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--token-auth-file={PKI / 'tokens.csv'}",
        f"--client-ca-file={PKI / 'ca.crt'}",
        *_key_pair("tls-cert-file", "tls-private-key-file", "apiserver"),
        *_key_pair("kubelet-client-certificate", "kubelet-client-key", "kubelet-client"),
        "--kubelet-preferred-address-types=InternalIP",  # no one resolves node names
        f"--requestheader-client-ca-file={PKI / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        *_key_pair("proxy-client-cert-file", "proxy-client-key-file", "front-proxy-client"),
        "--enable-aggregator-routing=true",  # it runs beside the nodes, where kube-proxy does not reach
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={PKI / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={PKI / 'service-accounts.key'}",
        "--max-requests-inflight=1600",  # bursts of a thousand objects
        "--max-mutating-requests-inflight=800",
        *_gates(layout),
    ]


def _controller_manager(layout: Layout) -> list[str]:
    return [
        str(BIN / "kube-controller-manager"),
        f"--kubeconfig={_config('kube-controller-manager')}",
        f"--authentication-kubeconfig={_config('kube-controller-manager')}",
        f"--authorization-kubeconfig={_config('kube-controller-manager')}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--root-ca-file={PKI / 'ca.crt'}",
        f"--service-account-private-key-file={PKI / 'service-accounts.key'}",
        *_key_pair("cluster-signing-cert-file", "cluster-signing-key-file", "ca"),
        f"--kube-api-qps={QPS}",
        f"--kube-api-burst={BURST}",
        *_gates(layout),
    ]


def _scheduler(layout: Layout) -> list[str]:
    return [
        str(BIN / "kube-scheduler"),
        f"--kubeconfig={_config('kube-scheduler')}",
        f"--authentication-kubeconfig={_config('kube-scheduler')}",
        f"--authorization-kubeconfig={_config('kube-scheduler')}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        f"--kube-api-qps={QPS}",
        f"--kube-api-burst={BURST}",
        *_gates(layout),
    ]


def kubelet(layout: Layout, number: int) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(PKI / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_ADDRESS],
        "resolvConf": str(INSIDE / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.node_cgroup(number)}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,  # root in a container may not lower it
        "localStorageCapacityIsolation": False,  # the root filesystem is the machine's own
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "maxPods": 240,
        # What ends again and again is on again soon: nobody waits five minutes for it here.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "10s"},
        "kubeAPIQPS": QPS,
        "kubeAPIBurst": BURST,
        "eventRecordQPS": 0,
        "volumeStatsAggPeriod": "0s",
        **({"featureGates": _gate_map(layout)} if layout.feature_gates else {}),
    }


def kube_proxy(layout: Layout, number: int) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": layout.nodes[number],
        "clientConnection": {"kubeconfig": _config("kube-proxy"), "qps": QPS, "burst": BURST},
        "detectLocalMode": "ClusterCIDR",
        "clusterCIDR": layout.pod_network,
        "oomScoreAdj": 0,
        # The conntrack sysctls belong to the whole machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def cni(layout: Layout, number: int) -> dict[str, Any]:
    """Each pod on a point-to-point link of its own, all traffic routed: Services need no bridge netfilter."""
    ranges = [[{"subnet": layout.pods_of(number)}]]
    routes = [{"dst": "0.0.0.0/0"}]
    return {
        "cniVersion": "0.4.0",
        "name": "perennial",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": ranges, "routes": routes},
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def containerd(cni_folder: Path) -> str:
    unused = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in ("aufs", "btrfs", "devmapper", "zfs"))
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = [{unused}]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  max_concurrent_downloads = 8
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni_folder}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    discard_unpacked_layers = false
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def _config(name: str) -> str:
    return str(PKI / f"{name}.kubeconfig")


def _key_pair(certificate_flag: str, key_flag: str, name: str) -> list[str]:
    return [f"--{certificate_flag}={PKI / f'{name}.crt'}", f"--{key_flag}={PKI / f'{name}.key'}"]


def _gates(layout: Layout) -> list[str]:
    return [f"--feature-gates={','.join(layout.feature_gates)}"] if layout.feature_gates else []


def _gate_map(layout: Layout) -> dict[str, bool]:
    return {name: value == "true" for name, value in (gate.split("=") for gate in layout.feature_gates)}
