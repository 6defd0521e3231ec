-- Asks Claviger whether a request may pass. Sets txn.claviger.status (0: not decided), .challenge and .retry_after, and
-- on 200 the identity headers of the request.
local AUTHZ = "http://127.0.0.1:4641/authz"
-- HAProxy 2.6 asks four times before it gives up, so a request may wait four times as long.
local TIMEOUT_MS = 250
local IDENTITY = { "key-id", "owner", "scopes", "environment", "secret-version" }
local PASSED = { "authorization", "x-api-key", "x-forwarded-for" }

local function ask(txn, policy)
  local sent = txn.http:req_get_headers()
  local headers = { ["x-forwarded-method"] = { txn.f:method() }, ["x-forwarded-uri"] = { txn.f:pathq() } }
  for _, name in ipairs(PASSED) do
    if sent[name] then
      local values = {}
      -- HAProxy counts the values of a header from 0.
      for index = 0, #sent[name] do values[#values + 1] = sent[name][index] end
      headers[name] = values
    end
  end
  local url = AUTHZ .. (policy ~= "" and "/" .. policy or "")
  return core.httpclient():get({ url = url, headers = headers, timeout = TIMEOUT_MS })
end

core.register_action("claviger", { "http-req" }, function(txn, policy)
  local answered, answer = pcall(ask, txn, policy)
  local status = answered and answer and answer.status or 0
  txn:set_var("txn.claviger.status", status)
  if status == 0 then return end
  local function first(name) return answer.headers[name] and answer.headers[name][0] end
  txn:set_var("txn.claviger.challenge", first("www-authenticate") or "Bearer")
  txn:set_var("txn.claviger.retry_after", first("retry-after") or "1")
  if status ~= 200 then return end
  for _, name in ipairs(IDENTITY) do
    local value = first("x-claviger-" .. name)
    -- An answer without one of them is not from Claviger.
    if not value then return txn:set_var("txn.claviger.status", 0) end
    txn.http:req_set_header("x-claviger-" .. name, value)
  end
end, 1)
