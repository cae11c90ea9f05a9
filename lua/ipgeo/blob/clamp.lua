-- Keeps a number that was read from memory that may change inside its bounds.

-- Returns `value`, or the nearest bound if it is not within 0 and `max`.
local function clamp(value, max)
    if value < 0 then
        return 0
    end
    return value > max and max or value
end


return clamp
