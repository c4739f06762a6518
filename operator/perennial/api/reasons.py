"""Every reason that a condition or an Event of ours can have, with its meaning: the reference pages list them from
here."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A reason in CamelCase. `meaning` is what the reference page says of it."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Reason:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


_LATE_REQUEST = (
    "LateRequest",
    "A DriftMonitor's request is about a version that is no longer the accepted or the stable one, or a person wants "
    "it otherwise by now: nothing was done.",
)


class CommonReason(Reason):
    """Of conditions and Events of all three kinds."""

    READY = "Ready", "The resource does its job."
    PROGRESSING = "Progressing", "A new generation of the spec is being carried out."
    SUSPENDED = "Suspended", "`spec.suspend` is true: nothing is started or changed."
    INVALID_SPEC = (
        "InvalidSpec",
        "The spec cannot be carried out; the message names the field. It is retried when the spec changes.",
    )
    NAME_TAKEN = (
        "NameTaken",
        "An object of the name that a child needs exists and belongs to somebody else; it is left untouched.",
    )
    FORBIDDEN = (
        "Forbidden",
        "The API server refused a child: Pod Security, a policy or a missing permission. The message has its words.",
    )
    QUOTA_EXCEEDED = "QuotaExceeded", "The namespace's quota is used up."
    INVALID_CHILD = "InvalidChild", "The API server refused a child as invalid; the message has its words."
    CONTENDED = "Contended", "Something else keeps changing a child back; it is said, not fought over."


class TrainingJobReason(Reason):
    """Of conditions and Events of TrainingJobs."""

    FIRST_RUN = "FirstRun", "The first run is under way; there is no accepted version yet."
    NO_ACCEPTED_VERSION = "NoAcceptedVersion", "No run has been accepted yet."
    FIRST_RUN_FAILED = "FirstRunFailed", "The first run of this definition failed; the message says why and what to do."
    FIRST_RUN_REJECTED = (
        "FirstRunRejected",
        "The first run of this definition missed a gate; the message has the values.",
    )
    STORE_NOT_CONFIGURED = (
        "StoreNotConfigured",
        "There is no store that all nodes can reach; the message says what to set.",
    )
    RUN_IN_PROGRESS = "RunInProgress", "A run is going on."
    RUN_STARTED = "RunStarted", "A run was started; the message says why."
    RUN_PENDING = "RunPending", "A run's pod does not start; the message has the scheduler's or the node's words."
    RUN_WAITING = (
        "RunWaiting",
        "A trigger waits: for the run before it, for `maxRunsPerDay` or for a DataFault to clear.",
    )
    IDLE = "Idle", "No run is going on and none waits."
    ACCEPTED = "Accepted", "The last run passed every gate."
    UNCHANGED = "Unchanged", "The last run came to the very model that is accepted already."
    REJECTED = "Rejected", "The last run missed a gate; its version is kept and never deployed."
    FAILED = "Failed", "The last run failed."
    BAD_DATA = (
        "BadData",
        "Your container says, by exit code 64, that its input is wrong; the message has its last lines.",
    )
    OUT_OF_MEMORY = (
        "OutOfMemory",
        "The container was killed above its memory limit: raise `spec.resources.limits.memory`.",
    )
    EVICTED = "Evicted", "The node evicted the pod."
    PREEMPTED = "Preempted", "The pod had to make room for one of higher priority."
    CRASHED = "Crashed", "The container exited with an error; the message has its last lines."
    UNSCHEDULABLE = "Unschedulable", "No node took the pod within `spec.pendingDeadlineSeconds`."
    NOT_STARTED = (
        "NotStarted",
        "The run's pod is refused, or its containers do not start: something that it needs is missing or forbidden.",
    )
    IMAGE_UNAVAILABLE = "ImageUnavailable", "The container's image cannot be pulled."
    SUPERSEDED = "Superseded", "Another run was asked for while this one waited to begin."
    DEADLINE_EXCEEDED = "DeadlineExceeded", "The run took longer than `spec.activeDeadlineSeconds`."
    RESULT_LOST = "ResultLost", "The run ended but left neither a report nor a sealed version."
    JOB_DELETED = "JobDeleted", "Somebody deleted the run's Job before it finished."
    NOT_TRACKED = (
        "NotTracked",
        "The tracker of `spec.tracking` was not told of a version, or not of all of it; the message says why. The run "
        "is as good as without.",
    )
    LATE_REQUEST = _LATE_REQUEST


class RunFailureReason(Reason):
    """What the trainer and the publisher find wrong, in `LastRunAccepted` and `status.runs[].failure.reason`. The
    message names the field, the column or the file."""

    DATA_NOT_FOUND = "DataNotFound", "Nothing is at `data.uri`."
    DATA_FORBIDDEN = "DataForbidden", "The store refuses the credentials of `data.secretRef`, or asks for some."
    DATA_UNREACHABLE = "DataUnreachable", "The store does not answer; tried again within `backoffLimit`."
    DATA_UNREADABLE = "DataUnreadable", "A file is neither CSV nor Parquet, or broken, or unlike the others."
    DATA_CHANGED = "DataChanged", "A file changed while it was read; tried again within `backoffLimit`."
    DATA_TOO_LARGE = "DataTooLarge", "The rows do not fit into the memory that the container may use."
    DATA_REJECTED = (
        "DataRejected",
        "The rows break rules of `data.expect`; the message has the first, and says where all are.",
    )
    TOO_FEW_ROWS = "TooFewRows", "There are too few rows to train on and to judge by."
    MISSING_COLUMN = "MissingColumn", "A column of the definition is not in the data."
    NO_FEATURES = "NoFeatures", "There is no column left to predict from."
    DATE_FEATURE = (
        "DateFeature",
        "A feature is a date or time, which an estimator cannot take: derive numbers from it, or leave it out.",
    )
    DATE_SLICE = "DateSlice", "A column of `acceptance.slices` is a date or time, of which each row may have another."
    NOT_A_NUMBER = "NotANumber", "A column that has to be numeric holds text."
    INFINITE_VALUE = "InfiniteValue", "A column has infinite values: leave them empty for missing."
    VALUES_MISSING = "ValuesMissing", "A column has missing values that the estimator does not take."
    TARGET_MISSING = "TargetMissing", "The target has no value in any row."
    TARGET_UNFIT = "TargetUnfit", "The estimator cannot learn a target of this kind."
    TIME_UNREADABLE = "TimeUnreadable", "The column of `data.time` is no date, time or number."
    ESTIMATOR_NOT_ALLOWED = (
        "EstimatorNotAllowed",
        "The estimator is on the list and not in the runtime's image, or is no estimator.",
    )
    MODEL_NOT_TRUSTED = (
        "ModelNotTrusted",
        "The fitted model holds types that a server would not load; the message names them.",
    )
    NO_EXACT_FORM = (
        "NoExactForm",
        "The estimator is served by ONNX Runtime only, and this model has no exact form in it; the message says why.",
    )
    INVALID_PARAMETERS = "InvalidParameters", "The estimator does not take these parameters."
    DOES_NOT_FIT = (
        "DoesNotFit",
        "The estimator does not take this data with these parameters; the message has its words.",
    )
    ONE_CLASS = "OneClass", "Every row has the same target: there is nothing to tell apart."
    NO_MODEL = "NoModel", "Your container left no model in $PERENNIAL_OUTPUT."
    MODEL_UNREADABLE = (
        "ModelUnreadable",
        "The model that your container left cannot be served; the message says what it should be.",
    )
    SCHEMA_MISSING = (
        "SchemaMissing",
        "Your container left a model without the schema.json that says what its inputs are.",
    )
    SCHEMA_INVALID = "SchemaInvalid", "The schema.json that your container left cannot be read."
    SCHEMA_MISMATCH = "SchemaMismatch", "The model that your container left and its schema.json do not fit together."
    PREDICTIONS_DISAGREE = (
        "PredictionsDisagree",
        "The model answers otherwise than the predictions that your container left.",
    )
    INVALID_SCORE = "InvalidScore", "The predictions that your container left hold a score that is none."
    STORE_FORBIDDEN = (
        "StoreForbidden",
        "The store of versions refuses the credentials of `output.secretRef`, or asks for some.",
    )
    STORE_UNREACHABLE = "StoreUnreachable", "The store of versions does not answer; tried again within `backoffLimit`."
    STORE_CONFLICT = "StoreConflict", "Another version is sealed already where this one would go."
    SEAL_BROKEN = "SealBroken", "A sealed version in the store is not what its manifest says."
    INVALID_RUN = (
        "InvalidRun",
        "The trainer does not understand what the operator gave it: their releases are too far apart.",
    )
    INVALID_COMMAND = "InvalidCommand", "The trainer was started with a command that it does not have."
    UNKNOWN_METRIC = "UnknownMetric", "There is no such metric for a model of this kind."
    INPUT_OUTPUT = "InputOutput", "A file could not be read or written; tried again within `backoffLimit`."
    INTERNAL_ERROR = "InternalError", "A fault of the trainer; the pod's log has the traceback."


class ModelDeploymentReason(Reason):
    """Of conditions and Events of ModelDeployments."""

    NO_VERSION = "NoVersion", "The TrainingJob has no accepted version yet."
    TRAINING_JOB_NOT_FOUND = "TrainingJobNotFound", "There is no TrainingJob of that name in the namespace."
    VERSION_NOT_FOUND = "VersionNotFound", "The pinned version does not exist."
    VERSION_NOT_ACCEPTED = "VersionNotAccepted", "The pinned version was not accepted."
    QUARANTINED = (
        "Quarantined",
        "The revision was rolled back for what its model did; `perennial.dev/release` lifts this.",
    )
    PODS_NOT_READY = "PodsNotReady", "Not enough pods are ready; the message has a pod's own reason."
    SCALED_TO_ZERO = "ScaledToZero", "`spec.replicas` is 0: nothing is served, as asked."
    STARTING = "Starting", "The first pods are starting."
    STABLE = "Stable", "No rollout is going on."
    ROLLING_OUT = "RollingOut", "A candidate is taking over step by step."
    ANALYSING = "Analysing", "A step waits for enough requests to judge the candidate."
    HOLDING = "Holding", "A step waits for its `hold` to pass."
    INCONCLUSIVE = "Inconclusive", "Too few requests came to judge the candidate; a person may promote or abort."
    WEIGHT_UNREACHABLE = (
        "WeightUnreachable",
        "Replicas cannot give the weight that the step asks for; the message says what would.",
    )
    PROMOTED = "Promoted", "The candidate became the stable revision."
    ROLLED_BACK = (
        "RolledBack",
        "A version was taken away for what its model did, and is quarantined: a candidate, or a stable version that "
        "harms more than the one before it.",
    )
    ABORTED = "Aborted", "The rollout was ended by `perennial.dev/abort` or by a newer one."
    PROGRESS_DEADLINE_EXCEEDED = (
        "ProgressDeadlineExceeded",
        "The candidate's pods were not ready in time; this is no quarantine.",
    )
    LATE_REQUEST = _LATE_REQUEST
    SCALED = "Scaled", "The autoscaler changed the number of replicas."


class DriftMonitorReason(Reason):
    """Of conditions and Events of DriftMonitors."""

    WATCHING = "Watching", "The monitor sees and judges what the deployment serves."
    LEARNING = "Learning", "The baseline is still being gathered."
    LEARNING_IN_VAIN = (
        "LearningInVain",
        "The last three versions or more gave way before their baselines were whole: drift is never looked for.",
    )
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound", "There is no ModelDeployment of that name in the namespace."
    NOTHING_SERVED = "NothingServed", "The deployment has no stable revision yet."
    COUNTS_UNREACHABLE = "CountsUnreachable", "No pod of the deployment answered; the message says what it tried."
    TOO_MANY_COLUMNS = (
        "TooManyColumns",
        "What is remembered of so many columns does not fit into a ConfigMap: the model takes too many features.",
    )
    NO_REFERENCE = "NoReference", "The version has no reference to compare with."
    HARM_UNOBSERVABLE = (
        "HarmUnobservable",
        "No labels come back, so that harm cannot be measured; or scores do not tell it, and it cannot be suspected.",
    )
    SECOND_MONITOR = "SecondMonitor", "Another monitor of the deployment acts; this one only watches."
    NO_DRIFT = "NoDrift", "What is served looks like the baseline."
    DRIFT = "Drift", "What is served differs from the baseline by a material amount."
    MINOR_DRIFT = "MinorDrift", "A difference is certain but below `spec.materiality`: reported, never acted upon."
    MISSING_VALUES = "MissingValues", "Values are missing that were there in the baseline."
    UNSEEN_VALUES = "UnseenValues", "Most values of a column are none that training knew."
    UNIT_CHANGED = "UnitChanged", "A column looks as if it came in another unit: all of it stretched by one factor."
    FORBIDDEN_VALUES = "ForbiddenValues", "Values came that the TrainingJob's `data.expect` forbids."
    TRAIN_SERVE_SKEW = (
        "TrainServeSkew",
        "The first rows served differ materially from the rows that the run held out.",
    )
    ANCHOR_DRIFT = (
        "AnchorDrift",
        "From version to version what they held out has moved by a material amount that was not told as Drift.",
    )
    BASELINE_COMPLETE = "BaselineComplete", "Enough rows were served to know what is normal."
    OVER = "Over", "What was found is over: it has long looked normal, or there is a new baseline."
    CHECKPOINT_UNREADABLE = (
        "CheckpointUnreadable",
        "The monitor's ConfigMap is gone or holds no checkpoint of this release: the baseline is learned anew, and "
        "what was found and asked for is forgotten.",
    )
    COUNTS_LOST = (
        "CountsLost",
        "Pods ended without handing over what they had counted last, since their node died or the operator was away: "
        "how much is estimated, and missing in `status.coverage`.",
    )
    NO_FAULT = "NoFault", "The data is whole."
    HARM = "Harm", "Labels show a loss above the reference's by more than `spec.harm.margin`."
    HARM_SUSPECTED = (
        "HarmSuspected",
        "Scores let expect a loss above the reference's by more than `spec.harm.margin`; labels prove or clear it.",
    )
    NO_HARM = "NoHarm", "Labels show no more loss than the reference and `spec.harm.margin` allow."
    TOO_FEW_LABELS = "TooFewLabels", "Harm is not proved, and too few labels came back to say that there is none."
    JOINED = "Joined", "The labels that the table has were joined with what was predicted."
    JOIN_PENDING = "JoinPending", "No label was joined yet, or the Job's pod does not start; the message says why."
    JOIN_FAILED = "JoinFailed", "The table of labels could not be joined; the message says why. It is tried again."
    RETRAIN_REQUESTED = "RetrainRequested", "A retrain was asked of the TrainingJob."
    RETRAIN_PROPOSED = "RetrainProposed", "A retrain waits for a person's `perennial.dev/approve`."
    ROLLBACK_REQUESTED = "RollbackRequested", "The ModelDeployment was asked to go back to the version before."
    ROLLBACK_PROPOSED = "RollbackProposed", "A rollback waits for a person's `perennial.dev/approve`."
    COOLDOWN = "Cooldown", "An action waits for `spec.governor.cooldown`."
    NOTHING_NEW = (
        "NothingNew",
        "A retrain came to the model that is accepted already: the training data have not changed, and it is not asked "
        "for again soon.",
    )
    STOPPED = (
        "Stopped",
        "`spec.governor.stopAfter` retrains, or rollbacks, brought no long calm: a person has to look.",
    )
    DRY_RUN = "DryRun", "`spec.dryRun` is true: the action is named and not taken."


class JoinFailureReason(Reason):
    """Why a table of labels could not be joined, at the beginning of what `LabelsJoined` says. The message names the
    file, the row or the column; `status.joins.job` is the Job that has the log. Each is tried again after 1, 2, 4
    minutes, up to `spec.labels.every`, and at once when `spec.labels` changes."""

    DATA_NOT_FOUND = (
        "DataNotFound",
        "There is no such place, or a file that was listed is gone. A pattern or folder without a file is no failure.",
    )
    DATA_FORBIDDEN = "DataForbidden", "The store refuses the credentials of `spec.labels.secretRef`, or asks for some."
    DATA_UNREACHABLE = "DataUnreachable", "The store does not answer."
    DATA_UNREADABLE = "DataUnreadable", "A file is neither CSV nor Parquet, or broken."
    DATA_CHANGED = "DataChanged", "A file changed while it was read."
    MISSING_COLUMN = "MissingColumn", "A file has no column of the name in `key`, `column` or `time`."
    LABEL_UNREADABLE = "LabelUnreadable", "A label is neither a number, a text, nor true or false."
    TIME_UNREADABLE = (
        "TimeUnreadable",
        "A row of the column in `time` has no date, ISO 8601 text or Unix seconds.",
    )
    TOO_MANY_FILES = (
        "TooManyFiles",
        "The table has more files than can be remembered, 8,192: narrow the pattern, or move those away that were "
        "joined.",
    )
    OUT_OF_MEMORY = (
        "OutOfMemory",
        "One file, or what the pods remember, does not fit: raise `spec.labels.resources.limits.memory`.",
    )
    OOM_KILLED = "OOMKilled", "The container was killed above its memory limit: raise it as above."
    INPUT_OUTPUT = "InputOutput", "A file could not be read or written."
    INVALID_JOIN = (
        "InvalidJoin",
        "The Job does not understand what the operator gave it: their releases are too far apart.",
    )
    INTERNAL_ERROR = "InternalError", "A fault of the joiner; the pod's log has the traceback."
