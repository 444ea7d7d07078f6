/** Scripts about withdrawn tokens and about the replicas that must know of them; all keys are in one slot. */

import { prologued } from './scripts.js';

/** How long the lists of all live after the last of their entries, and at least; in milliseconds. */
const keeping = `
local function keepUp(last, ...)
  local at = math.max(last * 1000 + 3600000, now + 86400000)
  for _, key in ipairs({...}) do redis.call('PEXPIREAT', key, string.format('%.0f', at)) end
end
local function forget(ends, issued)
  local at = math.floor(now / 1000)
  for _, field in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', at, 'LIMIT', 0, 100)) do
    redis.call('ZREM', ends, field)
    redis.call('HDEL', issued, field)
  end
end
local function last(ends) return tonumber(redis.call('ZREVRANGE', ends, 0, 0, 'WITHSCORES')[2] or 0) end
`;

/**
 * Withdraws, and tells all. KEYS: ends, issued, stream, replicas, those of the tenant (or the ends). ARGV: until, field, life in
 * seconds, limit, limit of the tenant (-1: none), replica, request. Answers with when it was, its end, whether it is kept, and
 * the replicas that live.
 */
export const revoke = prologued(`${keeping}
local field, life, limit, quarter = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
forget(KEYS[1], KEYS[2])
local at = math.floor(now / 1000)
local before = tonumber(redis.call('ZSCORE', KEYS[1], field) or 0)
local issued = math.max(at, tonumber(redis.call('HGET', KEYS[2], field) or 0))
local ends = math.max(at + life, before)
local kept = 0
local hasRoom = redis.call('ZCARD', KEYS[1]) < limit
if quarter >= 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', at)
  hasRoom = hasRoom and redis.call('ZCARD', KEYS[5]) < quarter
end
if before > 0 or hasRoom then
  kept = 1
  redis.call('ZADD', KEYS[1], string.format('%.0f', ends), field)
  redis.call('HSET', KEYS[2], field, string.format('%.0f', issued))
  if quarter >= 0 then redis.call('ZADD', KEYS[5], string.format('%.0f', ends), field) end
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'f', field, 'u', string.format('%.0f', issued),
  'e', string.format('%.0f', ends), 'k', kept, 'o', ARGV[6], 'r', ARGV[7])
keepUp(math.max(last(KEYS[1]), ends), KEYS[1], KEYS[2], KEYS[3], KEYS[5])
local answer = {'ok', issued, ends, kept}
for _, replica in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '(' .. string.format('%.0f', now), '+inf')) do
  table.insert(answer, replica)
end
return answer
`);

/** Adds what is missing. KEYS: ends, issued, stream. ARGV: until, then of each field, when it was, its end. */
export const offer = prologued(`${keeping}
local added = 0
for at = 2, #ARGV, 3 do
  local field, issued, ends = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local known = tonumber(redis.call('HGET', KEYS[2], field) or -1)
  local until_ = tonumber(redis.call('ZSCORE', KEYS[1], field) or 0)
  if ends * 1000 > now and (known < issued or until_ < ends) then
    redis.call('ZADD', KEYS[1], string.format('%.0f', math.max(ends, until_)), field)
    redis.call('HSET', KEYS[2], field, string.format('%.0f', math.max(issued, known)))
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'f', field, 'u', string.format('%.0f', math.max(issued, known)),
      'e', string.format('%.0f', math.max(ends, until_)), 'k', 1, 'o', '', 'r', '')
    added = added + 1
  end
end
keepUp(last(KEYS[1]), KEYS[1], KEYS[2], KEYS[3])
return {'ok', added}
`);

/** A page of what is withdrawn. KEYS: ends, issued. ARGV: until, from which, how many. Answers with field, when, end of each. */
export const load = prologued(`
local answer = {'ok'}
local page = redis.call('ZRANGEBYSCORE', KEYS[1], math.floor(now / 1000) + 1, '+inf', 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[3])
for at = 1, #page, 2 do
  local issued = redis.call('HGET', KEYS[2], page[at])
  if issued then
    table.insert(answer, page[at])
    table.insert(answer, issued)
    table.insert(answer, page[at + 1])
  end
end
return answer
`);

/** How many are withdrawn. KEYS: ends. */
export const count = prologued(`return {'ok', redis.call('ZCARD', KEYS[1])}`);

/** A replica lives. KEYS: replicas. ARGV: until, its name, for how long in ms. Answers with all that live. */
export const beat = prologued(`
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[2])
redis.call('PEXPIRE', KEYS[1], 86400000)
local answer = {'ok'}
for _, replica in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do table.insert(answer, replica) end
return answer
`);

/** Tells a replica, or all. KEYS: a stream. ARGV: until, its life in ms, then names and values. */
export const tell = prologued(`
local fields = {}
for at = 3, #ARGV do table.insert(fields, ARGV[at]) end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', unpack(fields))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'ok'}
`);

/**
 * Says something to a replica, or to all. KEYS: a stream, replicas. ARGV: until, its life in ms, how much may stand in it, then
 * names and values. Answers with the replicas that live.
 */
export const post = prologued(`
local fields = {}
for at = 4, #ARGV do table.insert(fields, ARGV[at]) end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', unpack(fields))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local answer = {'ok'}
for _, replica in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf')) do
  table.insert(answer, replica)
end
return answer
`);
