"""A client of Tinybird: its Events API, query API and data source API. Usable without the rest of tracker."""
