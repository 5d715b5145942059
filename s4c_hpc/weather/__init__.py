"""Daily precipitation from elsewhere: imported as it is given, by grid cell, and read by place and day."""

from s4c_hpc.weather.edition import Weather, read_weather, weather_key, weather_now
from s4c_hpc.weather.rain import Rain, rain_of

__all__ = ["Rain", "Weather", "rain_of", "read_weather", "weather_key", "weather_now"]
