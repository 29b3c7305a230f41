-- The server's day of UTC, YYYY-MM-DD.
-- From "chrono-Compatible Low-Level Date Algorithms" by Howard Hinnant: civil_from_days.
local DAY_MS = 86400000
local DAYS = math.floor(NOW / DAY_MS) -- since the Unix epoch

local function date_of(days)
  local floor = math.floor
  local shifted = days + 719468 -- since 0000-03-01
  local era = floor(shifted / 146097)
  local of_era = shifted - era * 146097
  local year = floor(
    (of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  local march_month = floor((5 * of_year + 2) / 153)
  local day = of_year - floor((153 * march_month + 2) / 5) + 1
  local month = march_month < 10 and march_month + 3 or march_month - 9
  return string.format('%04d-%02d-%02d', year + era * 400 + (month <= 2 and 1 or 0), month, day)
end

local TODAY = date_of(DAYS)
