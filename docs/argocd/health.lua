-- Health of TrainingJob, ModelDeployment and DriftMonitor for Argo CD, by the conditions Ready, Reconciling and Stalled.
local health = {status = "Progressing", message = "The operator has not seen this generation yet"}

if obj.spec ~= nil and obj.spec.suspend == true then
  return {status = "Suspended", message = "spec.suspend is true"}
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

local found = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  found[condition.type] = condition
end
if found.Stalled ~= nil and found.Stalled.status == "True" then
  return {status = "Degraded", message = found.Stalled.message}
end
if found.Reconciling ~= nil and found.Reconciling.status == "True" then
  return {status = "Progressing", message = found.Reconciling.message}
end
if found.Ready ~= nil then
  if found.Ready.status == "True" then
    return {status = "Healthy", message = found.Ready.message}
  end
  health.message = found.Ready.message
end
return health
