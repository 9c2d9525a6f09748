"""What is known about a flight at its scheduled departure."""

from asof import (
    BatchView,
    Count,
    Entity,
    EventView,
    FeatureService,
    FileSource,
    Max,
    Mean,
    OnDemandView,
    RequestField,
    StateView,
    Stddev,
    StreamSource,
    on_demand,
)

airport = Entity("airport", join_key="origin")
carrier = Entity("carrier", join_keys=["carrier", "origin"])
airline = Entity("airline", join_key="carrier")
route = Entity("route", join_keys=["origin", "dest"])
aircraft = Entity("aircraft", join_key="tailnum")

# A flight happens when it is scheduled to leave; how late it was is known when it has landed.
flights = FileSource(
    "flights",
    path="data/flights.parquet",
    event_time="scheduled",
    available_at="known_at",
    event_id="flight_id",
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

# A nightly job, whose numbers are there two hours after midnight, UTC.
carrier_yesterday = BatchView(
    "carrier_yesterday",
    entity=airline,
    inputs=[flights],
    schedule="1d",
    delay="2h",
    sql="""
        SELECT carrier, count(*) AS flights, avg(arr_delay) AS arr_delay_mean
        FROM flights
        WHERE scheduled >= $start AND scheduled < $end
        GROUP BY carrier
    """,
    features=["flights", "arr_delay_mean"],
    ttl="2d",
    description="How many of the carrier's flights of the day before were over by then, and how late they were.",
)

# One view, read twice: where the flight leaves and where it goes.
place = StateView(
    "place",
    entity=Entity("place", join_key="faa"),
    source=FileSource("airports", path="data/airports.parquet", event_time="opened_at"),
    features=["lat", "lon", "alt"],
)
origin = place.with_role("origin", keys={"faa": "origin"})
destination = place.with_role("destination", keys={"faa": "dest"})

# Computed at the time of the read; the scheduled distance comes with the request.
trip = OnDemandView(
    "trip",
    inputs=[origin[["lat", "lon"]], destination[["lat", "lon"]], route_delays["arr_delay_mean_30d"]],
    request=[RequestField("distance", "int64")],
    features=[
        on_demand.haversine(
            "miles",
            "origin__place__lat",
            "origin__place__lon",
            "destination__place__lat",
            "destination__place__lon",
            unit="mi",
        ),
        on_demand.ratio("delay_per_mile", "route_delays__arr_delay_mean_30d", "distance"),
        on_demand.calendar("weekday", "weekday"),
    ],
    description="How far it goes, how late flights there usually are per mile, and on which day of the week.",
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
        carrier_yesterday,
        origin["alt"],
        destination["alt"],
        trip,
    ],
    description="Will this flight arrive more than 15 minutes late?",
)

# The same flights as they come to an end: from the file before that evening, from then on as they arrive.
landings = StreamSource(
    "landings",
    event_time="known_at",
    event_id="flight_id",
    topic="flights.landings",
    history=FileSource(
        "landed",
        path="data/flights.parquet",
        event_time="known_at",
        event_id="flight_id",
    ),
    handover="2013-02-08T21:00:00Z",
)

airport_now = EventView(
    "airport_now",
    entity=airport,
    source=landings,
    features=[
        Count("arr_delay", windows=["15m", "1h"], name="landed"),
        Mean("arr_delay", windows=["15m", "1h"]),
        Max("arr_delay", windows=["1h"]),
        Count(windows=["1h"], where="cancelled", name="cancelled"),
    ],
    description="How flights from this airport are doing at this moment.",
)
