"""gRPC: the Open Inference Protocol's `inference.GRPCInferenceService`, and `grpc.health.v1`.

Nothing but `port` is imported before somebody connects: grpcio and protobuf take a third of the memory that the whole
server takes without them.
"""
