-- Sends the requests of a file, each behind its length, round and round. The file is the script's argument.
local requests, at = {}, 0

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local size = file:read("*l")
  while size do
    requests[#requests + 1] = file:read(tonumber(size))
    size = file:read("*l")
  end
  file:close()
end

function request()
  at = at % #requests + 1
  return requests[at]
end
