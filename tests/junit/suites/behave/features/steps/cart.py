from behave import given, then


@given("a cart")
def cart(context):
    pass


@then("it is off by one")
def off(context):
    assert 8 == 9, "off by <one> & more"


@given("no database")
def database(context):
    raise RuntimeError("no database")


@given("the coin {coin}")
def coin(context, coin):
    assert coin != "日本円"
