"""What is known about a flight at its scheduled departure."""

from asof import Count, Entity, EventView, FeatureService, FileSource, Max, Mean, StateView, Stddev

airport = Entity("airport", join_key="origin")
carrier = Entity("carrier", join_keys=["carrier", "origin"])
route = Entity("route", join_keys=["origin", "dest"])
aircraft = Entity("aircraft", join_key="tailnum")

# A flight happens when it is scheduled to leave; how late it was is known when it has landed.
flights = FileSource(
    "flights", path="data/flights.parquet", event_time="scheduled", available_at="known_at", event_id="flight_id"
)

airport_delays = EventView(
    "airport_delays",
    entity=airport,
    source=flights,
    features=[
        Mean("arr_delay", windows=["1h", "3h", "1d"]),
        Max("arr_delay", windows=["3h"]),
        Count("arr_delay", windows=["1h", "3h"], name="landed"),
        Count(windows=["3h", "1d"], where="cancelled", name="cancelled"),
    ],
    description="How late flights from this airport were.",
)

carrier_delays = EventView(
    "carrier_delays",
    entity=carrier,
    source=flights,
    features=[
        Mean("arr_delay", windows=["3h", "1d", "7d"]),
        Count(windows=["1d"], where="cancelled", name="cancelled"),
    ],
    description="How late this carrier's flights from this airport were.",
)

route_delays = EventView(
    "route_delays",
    entity=route,
    source=flights,
    features=[
        Mean("arr_delay", windows=["1d", "7d", "30d"]),
        Stddev("arr_delay", windows=["30d"]),
        Count(windows=["30d"], name="flights"),
    ],
    description="How late flights on this route were.",
)

aircraft_delays = EventView(
    "aircraft_delays",
    entity=aircraft,
    source=flights,
    features=[
        Mean("arr_delay", windows=["1d", "30d"]),
        Max("arr_delay", windows=["1d"]),
        Count(windows=["1d", "7d"], name="flights"),
    ],
    description="How late this aircraft was, and how much it flew.",
)

# An hour's weather is published within the hour that follows.
weather = StateView(
    "weather",
    entity=airport,
    ttl="6h",
    source=FileSource("weather", path="data/weather.parquet", event_time="observed_at", delay="1h"),
    features=["temp", "wind_speed", "precip", "visib", "pressure"],
)

registration = StateView(
    "registration",
    entity=aircraft,
    source=FileSource("aircraft", path="data/aircraft.parquet", event_time="built_at"),
    features=["built", "manufacturer", "engines", "seats"],
)

arrival_delay = FeatureService(
    "arrival_delay",
    features=[
        airport_delays,
        carrier_delays,
        route_delays,
        aircraft_delays,
        weather,
        registration,
    ],
    description="Will this flight arrive more than 15 minutes late?",
)
