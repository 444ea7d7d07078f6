/**
 * What Redis decides, each in one script on keys of one slot; with commands of Redis 6.0. Whole numbers only go in and out, and
 * of many members only those are looked at that have ended.
 */

import { type Script, scriptOf } from './connection.js';

/**
 * How every script begins. What is asked is not done after its time, by the clock of Redis: nobody waits for it any more, and
 * what was refused because Redis was away has changed nothing.
 */
const prologue = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[1]) then return {'late', now} end
`;

/** A script that is done in time or not at all. */
export function prologued(text: string): Script {
  return scriptOf(`${prologue}${text}`);
}

const script = prologued;

/** A Redis that cannot be written to answers a PING, too. KEYS: one that nobody reads. */
export const probe = script(`
redis.call('SET', KEYS[1], '1', 'PX', 5000)
return {'ok', now}
`);

/** What something is called, given where there is none. KEYS: where that stands. ARGV: until, a name. */
export const named = script(`
redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', 86400000)
redis.call('PEXPIRE', KEYS[1], 86400000)
return {'ok', redis.call('GET', KEYS[1])}
`);

/** What Redis throws away when it is full; an empty text where that may not be asked. KEYS: one of the slot. */
export const policy = prologued(`
local info = redis.pcall('INFO', 'memory')
if type(info) ~= 'string' then return {'ok', ''} end
return {'ok', string.match(info, 'maxmemory_policy:([%w-]+)') or ''}
`);

/** Places: a set of holders by the end of their time. It goes when the last of them would have, and a while later. */
const places = `
local function enter(key, holder, limit, ttl)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  if not redis.call('ZSCORE', key, holder) and redis.call('ZCARD', key) >= limit then return false end
  redis.call('ZADD', key, now + ttl, holder)
  local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  redis.call('PEXPIREAT', key, last[2] + 60000)
  return true
end
`;

/**
 * Budgets of a day: what is used; who holds a part or has told a total, by the end of that; and a hash of the parts (\`h:\`), of
 * the totals that were told (\`t:\`), of the sum of all parts (\`s\`) and the number of those who reserve (\`n\`).
 */
const pots = `
local holdMs = 60000
local function number(value) return tonumber(value or 0) end
local function release(pot, holder)
  local part = redis.call('HGET', pot.parts, 'h:' .. holder)
  if not part then return end
  redis.call('HINCRBY', pot.parts, 's', string.format('%.0f', 0 - part))
  redis.call('HINCRBY', pot.parts, 'n', -1)
  redis.call('HDEL', pot.parts, 'h:' .. holder)
end
local function open(used, ends, parts)
  local pot = {used = used, ends = ends, parts = parts}
  for _, holder in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 100)) do
    release(pot, holder)
    redis.call('HDEL', parts, 't:' .. holder)
    redis.call('ZREM', ends, holder)
  end
  return pot
end
local function keep(pot, holder, dayEnds)
  redis.call('ZADD', pot.ends, now + holdMs, holder)
  for _, key in pairs(pot) do redis.call('PEXPIREAT', key, dayEnds + 3600000) end
end
local function used(pot) return number(redis.call('GET', pot.used)) end
local function held(pot) return number(redis.call('HGET', pot.parts, 's')) end
local function isSpent(pot, limit, isExact)
  local others = 0
  if isExact == '1' then others = held(pot) end
  return used(pot) + others >= limit
end
local function hold(pot, holder, limit, most, least)
  release(pot, holder)
  local left = limit - used(pot) - held(pot)
  local count = redis.call('HINCRBY', pot.parts, 'n', 1)
  local part = math.min(most, math.max(least, math.floor(left / (4 * count))), left)
  if part < 0 then part = 0 end
  redis.call('HSET', pot.parts, 'h:' .. holder, string.format('%.0f', part))
  redis.call('HINCRBY', pot.parts, 's', string.format('%.0f', part))
  return part
end
local function use(pot, holder, total, told)
  local before = redis.call('HGET', pot.parts, 't:' .. holder) or told
  local difference = total - before
  if difference ~= 0 then
    if redis.call('INCRBY', pot.used, string.format('%.0f', difference)) < 0 then redis.call('SET', pot.used, '0') end
  end
  redis.call('HSET', pot.parts, 't:' .. holder, string.format('%.0f', total))
end
local function bit(is) if is then return 1 else return 0 end end
local function tell(answer, pot, holder, dayEnds, limit, part, isExact)
  keep(pot, holder, dayEnds)
  table.insert(answer, used(pot))
  table.insert(answer, part)
  table.insert(answer, bit(part == 0 and isSpent(pot, limit, isExact)))
end
`;

/**
 * A place and a part of every budget, or nothing. KEYS: the places, then three of each pot. ARGV: until, holder, limit, life of
 * the place in ms, end of the day, then of each pot limit, most, least, whether it is exact.
 */
export const enter = script(`${places}${pots}
local holder, limit, ttl, dayEnds = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local was = redis.call('ZSCORE', KEYS[1], holder)
local isIn = was and tonumber(was) > now
local all = {}
for at = 2, #KEYS, 3 do table.insert(all, open(KEYS[at], KEYS[at + 1], KEYS[at + 2])) end
if not isIn then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
  if redis.call('ZCARD', KEYS[1]) >= limit then return {'taken'} end
  for i, pot in ipairs(all) do
    local arg = 1 + i * 4 + 1
    if isSpent(pot, tonumber(ARGV[arg]), ARGV[arg + 3]) then return {'spent', i - 1, used(pot)} end
  end
end
enter(KEYS[1], holder, limit, ttl)
local answer = {'in'}
if isIn then return answer end
for i, pot in ipairs(all) do
  local arg = 1 + i * 4 + 1
  local limit = tonumber(ARGV[arg])
  local part = hold(pot, holder, limit, tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2]))
  tell(answer, pot, holder, dayEnds, limit, part, ARGV[arg + 3])
end
return answer
`);

/**
 * Running totals, and the next parts. KEYS: three of each pot. ARGV: until, holder, end of the day, then of each pot limit,
 * most, least, whether it is exact, total, what the holder says it has told.
 */
export const settle = script(`${pots}
local holder, dayEnds = ARGV[2], tonumber(ARGV[3])
local answer = {'ok'}
for at = 1, #KEYS, 3 do
  local pot = open(KEYS[at], KEYS[at + 1], KEYS[at + 2])
  local arg = 4 + (at - 1) * 2
  local limit, most = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  use(pot, holder, tonumber(ARGV[arg + 4]), tonumber(ARGV[arg + 5]))
  local part = 0
  if most > 0 then part = hold(pot, holder, limit, most, tonumber(ARGV[arg + 2])) else release(pot, holder) end
  tell(answer, pot, holder, dayEnds, limit, part, ARGV[arg + 3])
end
return answer
`);

/** Gives back a place and all parts. KEYS: the places, then three of each pot. ARGV: until, holder. */
export const leave = script(`${pots}
redis.call('ZREM', KEYS[1], ARGV[2])
for at = 2, #KEYS, 3 do release(open(KEYS[at], KEYS[at + 1], KEYS[at + 2]), ARGV[2]) end
return {'ok'}
`);

/**
 * Keeps a place and what is held, or takes them anew where they are lost. KEYS as of \`enter\`. ARGV: until, holder, limit, life
 * of the place in ms, end of the day, then of each pot the part, what was told, and what was seen as used by all where Redis
 * has lost that (else -1).
 */
export const renew = script(`${places}${pots}
local holder, dayEnds = ARGV[2], tonumber(ARGV[5])
for at = 2, #KEYS, 3 do
  local pot = open(KEYS[at], KEYS[at + 1], KEYS[at + 2])
  local arg = 6 + (at - 2)
  local part, told, seen = ARGV[arg], ARGV[arg + 1], tonumber(ARGV[arg + 2])
  if seen > used(pot) then redis.call('SET', pot.used, ARGV[arg + 2]) end
  redis.call('HSETNX', pot.parts, 't:' .. holder, told)
  if part ~= '0' and redis.call('HSETNX', pot.parts, 'h:' .. holder, part) == 1 then
    redis.call('HINCRBY', pot.parts, 's', part)
    redis.call('HINCRBY', pot.parts, 'n', 1)
  end
  keep(pot, holder, dayEnds)
end
if enter(KEYS[1], holder, tonumber(ARGV[3]), tonumber(ARGV[4])) then return {'in'} end
return {'taken'}
`);

/** Takes a place among the unused texts of somebody. KEYS: these. ARGV: until, the text's name, limit, its life in ms. */
export const reserve = script(`${places}
redis.call('ZREM', KEYS[1], ARGV[2])
if enter(KEYS[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])) then return {'in'} end
return {'taken'}
`);

/** Keeps a text. KEYS: its name. ARGV: until, the text, its life in ms. */
export const put = script(`
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return {'ok'}
`);

/** Gets a text. KEYS: its name. */
export const look = script(`
return {'ok', redis.call('GET', KEYS[1])}
`);

/** Gets and deletes a text. KEYS: its name. */
export const take = script(`
local text = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
return {'ok', text}
`);

/** Takes somebody out of a set. KEYS: the set. ARGV: until, who. */
export const remove = script(`
redis.call('ZREM', KEYS[1], ARGV[2])
return {'ok'}
`);
